// out[n, c] = (KEPT[n, c] - [c is the label]) grad / COUNT: the gradient of a mean loss from what the loss kept, its
// softmax (OWN(n) is the label's column, if it is here) or slopes (there is no label: -1). A thread makes one element.

extern "C" __global__ void __launch_bounds__(THREADS)
    loss_grad(OUT_T *out, const GRAD_T *grad, const KEPT_T *kept LABEL_PARAMETER) {
  const index_t i = (index_t)blockIdx.x * THREADS + threadIdx.x;
  const int n = (int)(i / KEPT_C), c = (int)(i % KEPT_C);
  if (n < KEPT_N) put(out + i, (get(kept + i) - (OWN(n) == c ? 1.0f : 0.0f)) * (get(grad) / COUNT));
}
