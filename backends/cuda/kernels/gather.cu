// What max pooling passes back to V channels of pixel (h, w): the sum of g over the windows that took it. A g that is not finite
// goes there alone (the reference, which multiplies by a mask, makes NaN of the whole window).
__device__ __forceinline__ void gather(float (&sum)[V], const G_T *__restrict__ g, const A_T *__restrict__ argmax, int n,
                                       int c, int h, int w) {
#pragma unroll
  for (int k = 0; k < V; k++) sum[k] = 0.0f;
  each_window(h, w, [&](int oh, int ow, int cell) {
    float passed[V];
    int taken[V];
    get_cells(taken, argmax + (n * A_SN + c * A_SC + oh * A_SH + ow * A_SW));
    get_chunk(passed, g + (n * G_SN + c * G_SC + oh * G_SH + ow * G_SW));
#pragma unroll
    for (int k = 0; k < V; k++) sum[k] += taken[k] == cell ? passed[k] : 0.0f;
  });
}
