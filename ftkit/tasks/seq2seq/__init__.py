"""task: seq2seq, an encoder reads a text and a decoder writes another."""
