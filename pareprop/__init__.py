"""E-prop training of large sparse recurrent spiking networks."""

__version__ = "0.1.0"
