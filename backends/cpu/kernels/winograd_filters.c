// U = G g G^T, the filters transformed: [point][group][outer by 2 W][inner][2 W or what is left of outer], `upoint`
// from one point to the next. Outer are what results have (kernels; channels in an input gradient), inner what is
// summed over; both of a group, `so`, `si` from one to the next, `sg` from group to group, in elements. `flipped` turns
// each filter by half a turn. Threads share squares of 2 W outer and W inner, along whichever lies side by side.

TRANSFORM(filter, R, A)

void winograd_filters(const float *g, int groups, int outers, int inners, index_t sg, index_t so, index_t si,
                      index_t sh, index_t sw, int flipped, float *u, index_t upoint) {
  const int padded = (outers + W - 1) / W * W, pairs = (padded + 2 * W - 1) / (2 * W), pieces = (inners + W - 1) / W;
  const index_t first = flipped ? (R - 1) * (sh + sw) : 0;
  if (flipped) sh = -sh, sw = -sw;
#pragma omp parallel for schedule(static)
  for (int unit = 0; unit < groups * pairs * pieces; unit++) {
    const int group = unit / (pairs * pieces), square = unit % (pairs * pieces);
    const int outer = (so < si ? square % pairs : square / pieces) * 2 * W, count = (int)least(2 * W, outers - outer);
    const int inner = (so < si ? square / pairs : square % pieces) * W, some = (int)least(W, inners - inner);
    const int breadth = (int)least(2 * W, padded - outer);
    float taps[W][R][R][2 * W];
    for (int i = 0; i < R; i++)
      for (int j = 0; j < R; j++) {
        const float *x = g + first + group * sg + outer * so + inner * si + i * sh + j * sw;
        for (int k = 0; k < some; k++) {
          float *to = taps[k][i][j];
          if (so == 1 && count == 2 * W) {
            STORE(to, LOAD(x + k * si));
            STORE(to + W, LOAD(x + k * si + W));
          } else {
            for (int o = 0; o < count; o++) to[o] = x[o * so + k * si];
            for (int o = count; o < breadth; o++) to[o] = 0.0f;
          }
        }
      }
    for (int k = 0; k < some; k++)
      for (int half = 0; half < breadth; half += W) {
        float *to = u + ((index_t)group * padded + outer) * inners + (inner + k) * breadth + half;
        filter_transform(taps[k][0][0] + half, 2 * R * W, 2 * W, to, upoint);
      }
  }
}
