// Space to depth: blocks of BLOCK_H x BLOCK_W cells of a map become one cell with the channels of all of them,
//
//   Y[n][(dy BLOCK_W + dx) X_C + c][i][j] = X[n][c][i BLOCK_H + dy - PAD_H][j BLOCK_W + dx - PAD_W],
//
// zeros outside of X, and in channels of Y beyond the block's. A convolution of few channels whose stride is the block
// becomes one of stride 1 with many channels and fewer taps. Y lies channels last; a thread writes 16 bytes of a cell's
// channels at once, neighbours write side by side and, of a map that lies channels last, read so too.

constexpr int VECTOR = 16 / (int)sizeof(Y_T);
static_assert(Y_SC == 1 && Y_C % VECTOR == 0, "vectors of channels");

struct alignas(16) Vector {
  Y_T element[VECTOR];
};

extern "C" __global__ void __launch_bounds__(256) space_to_depth(const X_T *__restrict__ x, Y_T *__restrict__ y) {
  const index_t at = (index_t)blockIdx.x * 256 + threadIdx.x;
  const int first = (int)(at % (Y_C / VECTOR)) * VECTOR;
  const index_t cell = at / (Y_C / VECTOR);
  const int j = (int)(cell % Y_W), i = (int)(cell / Y_W % Y_H), n = (int)(cell / ((index_t)Y_W * Y_H));
  if (n >= Y_N) return;
  Vector found;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    const int channel = first + v, inner = channel / X_C, c = channel % X_C;
    const int h = i * BLOCK_H + inner / BLOCK_W - PAD_H, w = j * BLOCK_W + inner % BLOCK_W - PAD_W;
    const bool inside = inner < BLOCK_H * BLOCK_W && (unsigned)h < (unsigned)X_H && (unsigned)w < (unsigned)X_W;
    put(&found.element[v], inside ? get(x + n * X_SN + c * X_SC + h * X_SH + w * X_SW) : 0.0f);
  }
  *(Vector *)(y + cell * Y_C + first) = found;
}
