"""One account of the platform, as it stands at some moment of the day: who works there, what they sell."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from auditlog_cli.demo import names
from auditlog_schemas.event import Entity

T = TypeVar("T")

RECENT: Final = 25
"""Work goes on where it went on just now: half of it is on the newest items."""


@dataclass(slots=True)
class Item:
    """Anything with an id and a name."""

    type: str
    id: str
    name: str

    @property
    def entity(self) -> Entity:
        """Return the item as events name it."""
        return Entity(type=self.type, id=self.id, name=self.name)


@dataclass(slots=True)
class Person(Item):
    """A platform user or a customer."""

    email: str = ""


@dataclass(slots=True)
class Product(Item):
    """Something that is sold; archived products are inactive too."""

    active: bool = True
    archived: bool = False
    price: int = 49


@dataclass(slots=True)
class Order(Item):
    """A customer's order."""

    customer: Person | None = None
    managers: list[str] = field(default_factory=list)
    status: str = "open"


@dataclass(slots=True)
class License(Item):
    """What an order gives a customer: so many seats of a product."""

    product: Product | None = None
    order: Order | None = None
    enabled: bool = True
    seats: int = 5
    users: list[str] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    custom_fields: dict[str, str] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)

    @property
    def related(self) -> tuple[Entity, ...]:
        """Return the items in whose logs the license's events belong too."""
        items = (self.order, self.order and self.order.customer, self.product)
        return tuple(item.entity for item in items if item)


@dataclass(slots=True)
class Device(Item):
    """A computer on which a license is activated."""

    license: License | None = None
    borrowed: bool = False


class Vendor:
    """An account's items. Every choice comes from `rng`, so one seed makes one day."""

    def __init__(self, account_id: str, rng: random.Random) -> None:
        self.account_id = account_id
        self.rng = rng
        self.users: list[Person] = []
        self.templates: list[Item] = []
        self.policies: list[Item] = []
        self.products: list[Product] = []
        self.customers: list[Person] = []
        self.orders: list[Order] = []
        self.licenses: list[License] = []
        self.ordered: list[Order] = []
        """Orders whose licenses are still to be made."""
        self._founded()

    def new_id(self, prefix: str) -> str:
        """Return a new id, for example ``lic_7f3a9c21``."""
        return f"{prefix}_{self.rng.getrandbits(32):08x}"

    def pick(self, items: Sequence[T]) -> T | None:
        """Return one of the items, most likely a new one; None when there is none."""
        if not items:
            return None
        if self.rng.random() < 0.5:
            return self.rng.choice(items[-RECENT:])
        return self.rng.choice(items)

    def new_person(self, type: str, prefix: str, domain: str) -> Person:
        """Return a person that is not in the account yet."""
        first, last = self.rng.choice(names.FIRST_NAMES), self.rng.choice(names.LAST_NAMES)
        email = f"{first}.{last}".lower().replace("'", "").encode("ascii", "ignore").decode()
        return Person(type, self.new_id(prefix), f"{first} {last}", f"{email}@{domain}")

    def new_user(self) -> Person:
        """Return a new platform user."""
        return self.new_person("platform_user", "usr", f"{self.account_id.removeprefix('acc_')}.example")

    def new_customer(self) -> Person:
        """Return a new customer: a person, or a company with a contact's address."""
        customer = self.new_person("customer", "cus", "example.com")
        if self.rng.random() < 0.4:
            customer.name = self.rng.choice(names.COMPANIES)
        return customer

    def new_product(self) -> Product:
        """Return a new product."""
        name = f"{self.rng.choice(names.PRODUCTS)} {self.rng.randint(2, 9)}"
        return Product("product", self.new_id("prd"), name, price=self.rng.choice((19, 49, 99, 249)))

    def new_order(self) -> Order:
        """Return a new order of some customer."""
        number = self.rng.randint(100_000, 999_999)
        return Order("order", self.new_id("ord"), f"#{number}", customer=self.pick(self.customers))

    def new_license(self, order: Order | None) -> License:
        """Return a new license of an order, for some product on sale."""
        product = self.pick([product for product in self.products if product.active]) or self.products[0]
        features = self.rng.sample(names.FEATURES, 3)
        made = License("license", self.new_id("lic"), f"{product.name} seat", product, order)
        made.seats, made.features = self.rng.choice((1, 5, 10, 25)), features
        return made

    def new_device(self, license: License) -> Device:
        """Return a new device, activated on a license."""
        name = f"{self.rng.choice(names.COMPUTERS)}-{self.rng.randint(1, 999):03}"
        device = Device("device", self.new_id("dev"), name, license)
        license.devices.append(device)
        return device

    def _founded(self) -> None:
        """Make what the account has had before today."""
        self.users = [self.new_user() for _ in range(8)]
        template_names = self.rng.sample(names.TEMPLATES, 4)
        self.templates = [
            Item("user_permission_template", self.new_id("tpl"), name) for name in template_names
        ]
        policy_names = self.rng.sample(names.POLICIES, 3)
        self.policies = [Item("notification_policy", self.new_id("pol"), name) for name in policy_names]
        self.products = [self.new_product() for _ in range(6)]
        self.customers = [self.new_customer() for _ in range(40)]
        self.orders = [self.new_order() for _ in range(40)]
        self.licenses = [self.new_license(order) for order in self.orders]
        for license in self.licenses:
            self.new_device(license)
