"""Algorithm `steps`: a synapse is followed through each step between two arrivals; fits all synapses onto neurons."""
