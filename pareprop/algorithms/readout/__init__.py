"""Algorithm `readout`: weights onto readouts; errors between arrivals are added up by prefix sums or step by step."""
