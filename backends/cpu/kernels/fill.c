// out[i] = value, for so many elements.

void fill(float *out, index_t count, float value) {
#pragma omp parallel for schedule(static) if (count > SMALL)
  for (index_t i = 0; i < count; i++) out[i] = value;
}
