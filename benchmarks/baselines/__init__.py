"""What lockstep is compared with: each in a module of its own, each at a size it can bear."""
