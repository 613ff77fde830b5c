"""3D-convolutional GAN: conditional, progressive, with adaptive augmentation."""
