// tail
