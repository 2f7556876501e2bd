"""Models that adapters were put on before a training begins."""
