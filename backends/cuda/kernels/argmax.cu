// Which cell of its window each pooled element is, written.
#define ARGMAX_PARAMETER , A_T *__restrict__ argmax
#define STORE_ARGMAX(cells, n, c, h, w) put_cells(argmax + (n * A_SN + c * A_SC + h * A_SH + w * A_SW), cells)
