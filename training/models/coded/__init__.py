"""What models that know items by semantic IDs share: one reader, one code decoder, one dense head.

A history is one line, a position an event (`items`, `reader`); what comes next is said by a light
decoder of codes (`decoder`) and by cosines over the catalogue (`catalogue`), after LIGER
(arXiv:2411.18814), COBRA (arXiv:2503.02453) and MARIUS (arXiv:2508.14910).
"""
