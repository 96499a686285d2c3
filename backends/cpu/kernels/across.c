// Windows of 2 HALF + 1 channels of a pixel, cut at the borders of groups of PER_GROUP.

// A group with zeros on either side; all of them.
enum { SPAN = PER_GROUP + 2 * HALF, BESIDE = X_C / PER_GROUP * SPAN };

// Where channel c of group g lies among them, and the sum over its window.
INLINE int beside(int g, int c) { return g * SPAN + HALF + c; }
INLINE float across(const float *values, int g, int c) {
  float sum = 0.0f;
  UNROLL for (int d = 0; d <= 2 * HALF; d++) sum += values[g * SPAN + c + d];
  return sum;
}

// Squares of a pixel's channels, which are `stride` apart.
INLINE void square(float *restrict squares, const float *restrict x, index_t stride) {
  for (int g = 0; g < X_C / PER_GROUP; g++)
    for (int c = 0; c < PER_GROUP; c++) {
      const float v = x[(g * PER_GROUP + c) * stride];
      squares[beside(g, c)] = v * v;
    }
}

// y = x s^-BETA of a pixel, channels side by side; `squares` are BESIDE floats, zeros where no channel is.
INLINE void normalize(float *restrict y, float *restrict squares, const float *restrict x, index_t stride) {
  square(squares, x, stride);
  for (int g = 0; g < X_C / PER_GROUP; g++)
    for (int c = 0; c < PER_GROUP; c++) {
      const int at = g * PER_GROUP + c;
      y[at] = x[at * stride] * power(BIAS + ALPHA * across(squares, g, c));
    }
}

// g = g s^-BETA - 2 ALPHA BETA x (sum over the window of t), t = g x s^(-BETA - 1), of a pixel; `squares` and t as
// above.
INLINE void normalize_grad(float *restrict g, float *restrict squares, float *restrict t, const float *restrict x,
                           index_t stride) {
  square(squares, x, stride);
  for (int k = 0; k < X_C / PER_GROUP; k++)
    for (int c = 0; c < PER_GROUP; c++) {
      const int at = k * PER_GROUP + c;
      const float s = BIAS + ALPHA * across(squares, k, c);
      g[at] *= power(s);
      t[beside(k, c)] = g[at] * x[at * stride] * inverse(s);
    }
  for (int k = 0; k < X_C / PER_GROUP; k++)
    for (int c = 0; c < PER_GROUP; c++) {
      const int at = k * PER_GROUP + c;
      g[at] -= 2.0f * ALPHA * BETA * x[at * stride] * across(t, k, c);
    }
}
