"""What emitting backends share: commands as data, sites, epilogues, programs on machines, manifests."""
