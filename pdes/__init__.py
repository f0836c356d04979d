"""The catalogue: one file per equation, each exporting functions that return Problems with their exact solutions."""

from pdes.heat import heat
from pdes.mckean_vlasov import mckean_vlasov
from pdes.ornstein_uhlenbeck import exact_gaussian, ornstein_uhlenbeck

__all__ = ["exact_gaussian", "heat", "mckean_vlasov", "ornstein_uhlenbeck"]
