// U = G g G^T, the filters transformed: [point][group][outer by 2 W][inner][2 W or what is left of outer]. Outer are what
// results have (kernels; channels in an input gradient), inner what is summed over; both of a group, with a stride each,
// and `so`, `si` from one to the next, `sg` from group to group, in elements. `flipped` turns each filter by half a turn.
// Threads share vectors of outer.

TRANSFORM(filter, R, A)

void winograd_filters(const float *g, int groups, int outers, int inners, index_t sg, index_t so, index_t si,
                      index_t sh, index_t sw, int flipped, float *u) {
  const int padded = (outers + W - 1) / W * W, parts = padded / W;
  const index_t first = flipped ? (R - 1) * (sh + sw) : 0;
  if (flipped) sh = -sh, sw = -sw;
#pragma omp parallel for collapse(2) schedule(static)
  for (int part = 0; part < groups * parts; part++)
    for (int piece = 0; piece < (inners + W - 1) / W; piece++) {
      const int group = part / parts, outer = part % parts * W, count = (int)least(W, outers - outer);
      const int pair = outer / (2 * W) * (2 * W), breadth = (int)least(2 * W, padded - pair);
      const int from = piece * W, some = (int)least(W, inners - from);
      float taps[W][R][R][W] = {0};
      for (int i = 0; i < R; i++)
        for (int j = 0; j < R; j++) {
          const float *x = g + first + group * sg + outer * so + from * si + i * sh + j * sw;
          for (int k = 0; k < some; k++)
            for (int o = 0; o < count; o++) taps[k][i][j][o] = x[o * so + k * si];
        }
      for (int k = 0; k < some; k++) {
        float *to = u + ((index_t)group * padded + pair) * inners + (from + k) * breadth + outer - pair;
        filter_transform(taps[k][0][0], R * W, W, to, (index_t)groups * padded * inners);
      }
    }
}
