"""Whole training steps and forward passes in compiled code, on several threads."""
