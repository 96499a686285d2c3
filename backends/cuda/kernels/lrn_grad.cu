// The gradient of local response normalisation across maps (lrn_tile.cu says how a block computes it). blockIdx.x goes over
// the pixels, blockIdx.y over the images.

extern "C" __global__ void __launch_bounds__(THREADS)
    lrn_grad(const G_T *__restrict__ g, const X_T *__restrict__ x, Y_T *__restrict__ y EPILOGUE_PARAMETERS) {
  extern __shared__ float shared[];
  for (int n = blockIdx.y; n < X_N; n += gridDim.y) {
    const auto read = [&](float (&to)[V], int c, int pixel) { get_chunk(to, g + (n * G_SN + c * G_SC + pixel * G_SW)); };
    const auto write = [&](float (&v)[V], int c, int pixel) {
      EPILOGUE_CHUNK(v, n, c, pixel / Y_W, pixel % Y_W);
      put_chunk(y + (n * Y_SN + c * Y_SC + pixel * Y_SW), v);
    };
    lrn_tile(shared, x + n * X_SN, read, write);
    __syncthreads();
  }
}
