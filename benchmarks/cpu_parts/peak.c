/* The most that this machine's cores do in fp32 multiply-adds, and what memcpy moves: seconds of both on so many threads.
   peak THREADS prints GFLOP/s (a multiply-add is two) and GB/s (read and written), of the best of some runs. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif
#define CHAINS 10 /* of operations that wait for each other: enough to hide their latency, few enough for registers */
#define TURNS 20000000L
#define BYTES (128L << 20)
#define RUNS 5

typedef float vector __attribute__((vector_size(WIDTH)));

static int threads;
static char *source, *target;
static volatile float sink;

static void *multiply(void *number) {
    vector sums[CHAINS], factor, summand;
    for (int i = 0; i < WIDTH / 4; i++) {
        factor[i] = 0.999f;
        summand[i] = 0.001f * (long)number;
        for (int c = 0; c < CHAINS; c++) sums[c][i] = c;
    }
    for (long turn = 0; turn < TURNS; turn++)
        for (int c = 0; c < CHAINS; c++) sums[c] = sums[c] * factor + summand;
    for (int c = 1; c < CHAINS; c++) sums[0] += sums[c];
    sink = sums[0][0];
    return NULL;
}

static void *copy(void *number) {
    long part = BYTES / threads, first = part * (long)number;
    memcpy(target + first, source + first, part);
    return NULL;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

static double best(void *(*work)(void *)) {
    double least = 1e30;
    pthread_t *started = malloc(threads * sizeof *started);
    for (int run = 0; run < RUNS; run++) {
        double begun = now();
        for (long t = 1; t < threads; t++) pthread_create(&started[t], NULL, work, (void *)t);
        work((void *)0);
        for (long t = 1; t < threads; t++) pthread_join(started[t], NULL);
        double taken = now() - begun;
        if (taken < least) least = taken;
    }
    free(started);
    return least;
}

int main(int count, char **words) {
    threads = count > 1 ? atoi(words[1]) : 1;
    source = malloc(BYTES);
    target = malloc(BYTES);
    memset(source, 1, BYTES);
    memset(target, 2, BYTES);
    double flop = 2.0 * TURNS * CHAINS * (WIDTH / 4) * threads;
    printf("%.1f ", 1e-9 * flop / best(multiply));
    printf("%.1f\n", 1e-9 * 2 * BYTES / best(copy));
    return 0;
}
