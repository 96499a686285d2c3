// Average pooling: the mean of the cells that count (mean_cells.cu).
#define TERM(v) (v)
#define POOLED(sum, oh, ow) ((sum) / cells(oh, ow))
