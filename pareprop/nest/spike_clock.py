class SpikeClock: pass
