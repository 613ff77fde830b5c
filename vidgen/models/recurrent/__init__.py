"""Recurrent next-frame prediction: ConvLSTM and ConvGRU."""
