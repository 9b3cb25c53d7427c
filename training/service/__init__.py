"""What `sidereal serve` runs: the champion of a preset answers requests over HTTP.

A request is read (`messages`), waits for its turn (`batches`), and is answered with others by one
reading of their histories (`served`), which asks the predictor that the daily table is made with.
A thread of its own (`follow`) watches the registry, the tables and the file of withheld items, and
puts what is `live` in the place of what was.
"""
