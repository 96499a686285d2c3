// Mean and sum of squared distances from it (M2), merged (Chan, Golub and LeVeque, "Algorithms for computing the sample
// variance", 1983): of counts m and n with means a and b,
//     mean = a + (b - a) n / (m + n),   M2 = M2a + M2b + (b - a)^2 m n / (m + n).
// Where an infinity is among the values the mean is NaN, as the variance is.

struct Moments {
  float count, mean, squares;
  __device__ __forceinline__ void merge(float other_count, float other_mean, float other_squares) {
    if (other_count == 0.0f) return;
    const float total = count + other_count, share = other_count / total, delta = other_mean - mean;
    mean = count == 0.0f ? other_mean : mean + delta * share;
    squares = count == 0.0f ? other_squares : squares + other_squares + delta * delta * count * share;
    count = total;
  }
};

