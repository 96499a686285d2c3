"""Makes containers of what people have: ImageNet as folders or tars, folders of classes, CIFAR-10, MNIST."""
