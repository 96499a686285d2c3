"""Small models for the tests of training."""

TINY = """alx 1

net Tiny(classes = 3, act = relu) {
  image = input(2, 6, 6)
  return image
    -> conv1: conv(4, 3, pad = 1) -> batchnorm -> act
    -> maxpool(2)
    -> flatten -> dropout(0.25)
    -> fc1: fc(classes)
}

data made_up {
  source: synthetic(96, 3)
  train:  [subtract_mean(), random_flip(), scale(1/128)]
  eval:   [subtract_mean(), scale(1/128)]
}

train recipe {
  batch: 16
  stop: epochs(2)
  optimizer: sgd(lr = 0.05, momentum = 0.9, weight_decay = 1e-4)
}
"""
