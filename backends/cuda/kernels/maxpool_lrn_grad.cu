// The gradients of max pooling and, before it, of local response normalisation across maps: what the pooling passes back is
// gathered from the windows over each pixel and never written (gather.cu); lrn_tile.cu says how a block goes on from there.
// blockIdx.x goes over the pixels, blockIdx.y over the images.

extern "C" __global__ void __launch_bounds__(THREADS)
    maxpool_lrn_grad(const G_T *__restrict__ g, const A_T *__restrict__ argmax, const X_T *__restrict__ x,
                     Y_T *__restrict__ y EPILOGUE_PARAMETERS) {
  extern __shared__ float shared[];
  for (int n = blockIdx.y; n < X_N; n += gridDim.y) {
    const auto read = [&](float (&to)[V], int c, int pixel) { gather(to, g, argmax, n, c, pixel / X_W, pixel % X_W); };
    const auto write = [&](float (&v)[V], int c, int pixel) {
      EPILOGUE_CHUNK(v, n, c, pixel / Y_W, pixel % Y_W);
      put_chunk(y + (n * Y_SN + c * Y_SC + pixel * Y_SW), v);
    };
    lrn_tile(shared, x + n * X_SN, read, write);
    __syncthreads();
  }
}
