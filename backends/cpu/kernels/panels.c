// Filters of 1 x 1 windows as panels: u[k / BLOCK][c][k % BLOCK] = w[k kernels_step + c channels_step], zero beyond the
// last kernel.

void panels(const float *w, int kernels, int channels, index_t kernels_step, index_t channels_step, float *u) {
#pragma omp parallel for schedule(static)
  for (int k = 0; k < kernels; k += BLOCK) {
    if (kernels_step == 1)
      pack(channels, w, channels_step, k, kernels, u + (index_t)k * channels);
    else
      pack_transposed(channels, w, kernels_step, k, kernels, u + (index_t)k * channels);
  }
}
