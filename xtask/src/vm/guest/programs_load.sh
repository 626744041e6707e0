# The kernel's type information has every offset, and its verifier accepts every program; none is attached.
driftlock doctor
