"""The door through which the files of a checkpoint reach the libraries, and what is asked of them before."""
