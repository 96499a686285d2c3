// out[n][c] = (KEPT[n][c] - [c is the label]) grad / count: the gradient of a mean loss from what the loss kept, its
// softmax (OWN(n) is the label's column, if it is here) or slopes (there is no label: -1). `out` may lie over `kept`.

void loss_grad(int images, float count, OUT_T *out, const GRAD_T *grad, const KEPT_T *kept LABEL_PARAMETER) {
  const float factor = get(grad) / count;
#pragma omp parallel for schedule(static)
  for (int n = 0; n < images; n++) {
    const KEPT_T *row = kept + n * (index_t)KEPT_C;
    const int own = OWN(n), known = own >= 0 && own < KEPT_C;
    const float kept_own = known ? get(row + own) : 0.0f;
    INDEPENDENT for (int c = 0; c < KEPT_C; c++) out[n * (index_t)KEPT_C + c] = get(row + c) * factor;
    if (known) out[n * (index_t)KEPT_C + own] = (kept_own - 1.0f) * factor;
  }
}
