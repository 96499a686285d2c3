// v' = momentum v - lr lr_mult (gradient + weight_decay decay_mult w); w' = w + v' (Krizhevsky et al. 2012, section 5),
// for many parameters (updates.c). A parameter's places: w, v, gradient, lr, momentum, weight_decay, lr_mult,
// decay_mult; w', v'.

static void update(float *const *places, index_t from, index_t to) {
  const float *w = places[0], *v = places[1], *gradient = places[2];
  float *new_w = places[8], *new_v = places[9];
  const float step = *places[3] * *places[6], momentum = *places[4], decay = *places[5] * *places[7];
  INDEPENDENT
  for (index_t i = from; i < to; i++) {
    const float moved = momentum * v[i] - step * (gradient[i] + decay * w[i]);
    new_v[i] = moved;
    new_w[i] = w[i] + moved;
  }
}

void sgd(float *const *table, SIZE_PARAMETERS) { over_parameters(table, (index_t[])SIZES, update); }
