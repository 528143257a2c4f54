"""Tests of the stages that no toolchain owns."""
