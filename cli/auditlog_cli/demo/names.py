"""Made-up names. Addresses are from the ranges that RFC 5737, RFC 3849 and RFC 2606 keep for examples."""

from __future__ import annotations

from typing import Final

ACCOUNTS: Final = (
    "acc_aurora",
    "acc_basalt",
    "acc_cobalt",
    "acc_delta",
    "acc_ember",
    "acc_fjord",
    "acc_granite",
    "acc_harbor",
    "acc_indigo",
    "acc_juniper",
    "acc_kelvin",
    "acc_lumen",
    "acc_meridian",
    "acc_nimbus",
    "acc_onyx",
    "acc_prism",
    "acc_quartz",
    "acc_ridge",
    "acc_saffron",
    "acc_tundra",
)
"""The accounts, the busiest first."""

FIRST_NAMES: Final = (
    "Ada",
    "Amara",
    "Björn",
    "Carmen",
    "Dmitri",
    "Elena",
    "Farid",
    "Grace",
    "Hiro",
    "Ines",
    "Jamal",
    "Katarzyna",
    "Lars",
    "Mei",
    "Nadia",
    "Oluwaseun",
    "Priya",
    "Quentin",
    "Rosa",
    "Søren",
    "Tomás",
    "Uma",
    "Viktor",
    "Wanjiru",
    "Yuki",
    "Zoë",
)
LAST_NAMES: Final = (
    "Abara",
    "Bianchi",
    "Castillo",
    "Dubois",
    "Eriksson",
    "Fischer",
    "García",
    "Hopper",
    "Ivanova",
    "Jensen",
    "Kowalski",
    "Lovelace",
    "Müller",
    "Nakamura",
    "O'Brien",
    "Petrov",
    "Quispe",
    "Rossi",
    "Santos",
    "Tanaka",
    "Usman",
    "Virtanen",
    "Weber",
    "Yılmaz",
    "Zhang",
)
COMPANIES: Final = (
    "Alder & Sons",
    "Brightwater Labs",
    "Copperfield Media",
    "Dockside Logistics",
    "Evergreen Clinics",
    "Foxglove Studio",
    "Greystone Bank",
    "Hollow Oak Games",
    "Ironbridge Steel",
    "Jade Harbour",
    "Kingfisher Air",
    "Lindqvist Arkitekter",
    "Marble Arch Legal",
    "Nordlicht GmbH",
    "Orchard Robotics",
    "Pinewood University",
    "Redshore Energy",
    "Silverline Rail",
    "Thistle Foods",
    "Westerly Marine",
)
PRODUCTS: Final = (
    "Atlas CAD",
    "Beacon Analytics",
    "Canvas Pro",
    "Drift Audio",
    "Echo Transcribe",
    "Forge Build",
    "Glyph Editor",
    "Helix Sim",
    "Isobar Weather",
    "Juno Render",
)
TEMPLATES: Final = ("Administrators", "Support", "Sales", "Read only", "Finance", "Contractors", "Auditors")
POLICIES: Final = (
    "License expiring",
    "Order placed",
    "Device limit reached",
    "Failed activation",
    "Weekly summary",
)
PERMISSIONS: Final = (
    "orders.read",
    "orders.write",
    "licenses.read",
    "licenses.write",
    "licenses.reset",
    "customers.read",
    "customers.write",
    "products.write",
    "reports.read",
)
FEATURES: Final = (
    "export",
    "cloud_sync",
    "plugins",
    "batch_mode",
    "sso",
    "api_access",
    "offline",
    "watermark",
)
CUSTOM_FIELDS: Final = ("cost_center", "purchase_order", "region", "renewal_owner", "campus")
REGIONS: Final = ("eu-north", "eu-west", "us-east", "us-west", "ap-south")
BROWSERS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML) Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:151.0) Gecko/20100101 Firefox/151.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 20_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)",
)
CLIENTS: Final = (
    "shop-sync/2.4 python-httpx/0.28",
    "erp-bridge/1.9 okhttp/5.1",
    "licensed-app/7.2 libcurl/8.16",
)
COMPUTERS: Final = ("MacBook", "ThinkPad", "Surface", "Workstation", "Render-Node", "Lab-PC", "iMac")
