// Local response normalisation (section 3.3 of the paper): b = a s^-BETA with s = BIAS + ALPHA (sum of a^2 over a
// window).

// s^-BETA, s > 0; the usual exponents by roots alone, which are vectorised. Of infinity it is 0.
INLINE float power(float s) {
  const float r = rsqrtf(s);
  if (BETA == 0.75f) return r * sqrtf(r);
  if (BETA == 0.5f) return r;
  if (BETA == 1.0f) return 1.0f / s;
  return powf(s, -BETA);
}

// 1 / s.
INLINE float inverse(float s) {
  if (BETA == 1.0f) return 1.0f / s;
  const float r = rsqrtf(s);
  return r * r;
}
