// Which cell of its window each pooled element is: nobody reads it.
#define ARGMAX_PARAMETER
#define STORE_ARGMAX(cells, n, c, h, w)
