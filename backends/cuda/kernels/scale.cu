// Local response normalisation (section 3.3 of the paper): b = a s^-BETA with s = BIAS + ALPHA (sum of a^2 over a window).

// s^-BETA, s > 0; the usual exponents by roots alone. Of infinity it is 0.
__device__ __forceinline__ float power(float s) {
  const float r = rsqrtf(s);
  if (BETA == 0.75f) return r > 0.0f ? r * (r * rsqrtf(r)) : r;
  if (BETA == 0.5f) return r;
  if (BETA == 1.0f) return r * r;
  return powf(s, -BETA);
}

// 1 / s.
__device__ __forceinline__ float inverse(float s) {
  const float r = rsqrtf(s);
  return r * r;
}
