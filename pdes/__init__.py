"""The catalogue: one file per equation, each exporting functions that return Problems with their exact solutions."""

from pdes.heat import heat
from pdes.log_gas import log_gas
from pdes.mckean_vlasov import mckean_vlasov
from pdes.ornstein_uhlenbeck import exact_gaussian, ornstein_uhlenbeck
from pdes.porous_medium import barenblatt, porous_medium

__all__ = ["barenblatt", "exact_gaussian", "heat", "log_gas", "mckean_vlasov", "ornstein_uhlenbeck", "porous_medium"]
