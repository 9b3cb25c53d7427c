"""Somebody else's package: a step of the nightly chain, and the table that it writes.

Tests install it by a .dist-info folder beside a copy of this one.
"""
