// What a thread of a map kernel works on: a unit, V channels of one pixel. V elements lie side by side where channels lie
// last (LAST); elsewhere V is 1 and threads go along the rows. A warp's units are side by side in memory, either way.

// The first channel and the pixel of a unit of maps [C, H, W].
struct Position { int c, h, w; };
template <int C, int H, int W> __device__ __forceinline__ Position position(int unit) {
  static_assert(C % V == 0, "whole units");
  constexpr int ACROSS = C / V;
  if (LAST) return {unit % ACROSS * V, unit / ACROSS / W, unit / ACROSS % W};
  return {unit / (H * W), unit / W % H, unit % W};
}
