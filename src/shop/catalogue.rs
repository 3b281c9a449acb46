//! What the shop is made of.

/// One service.
pub(super) struct ServiceSpec {
    pub name: &'static str,
    pub version: &'static str,
    /// The service it calls to answer; empty if none.
    pub upstream: &'static str,
    pub routes: &'static [RouteSpec],
}

/// One route of a service.
pub(super) struct RouteSpec {
    pub method: &'static str,
    pub path: &'static str,
    /// Its share of all requests, per mille; those of all routes sum to 1000.
    pub per_mille: usize,
    pub median_us: u32,
}

/// Where the nodes of a service stand: one entry per node.
pub(super) const REGIONS: [&str; 3] = ["eu-1", "eu-1", "us-1"];

/// Shares of all routes together.
pub(super) const WHOLE: usize = 1000;

const fn get(path: &'static str, per_mille: usize, median_us: u32) -> RouteSpec {
    RouteSpec { method: "GET", path, per_mille, median_us }
}

const fn post(path: &'static str, per_mille: usize, median_us: u32) -> RouteSpec {
    RouteSpec { method: "POST", path, per_mille, median_us }
}

const fn service(
    name: &'static str,
    version: &'static str,
    upstream: &'static str,
    routes: &'static [RouteSpec],
) -> ServiceSpec {
    ServiceSpec { name, version, upstream, routes }
}

/// The services.
pub(super) const SERVICES: [ServiceSpec; 12] = [
    service("frontend", "4.11.0", "catalog", &[get("/", 100, 12_000), get("/p/{id}", 65, 15_000)]),
    service("catalog", "2.8.1", "stock", &[get("/catalog", 70, 8_000), get("/catalog/{id}", 60, 6_000)]),
    service("search", "3.0.4", "catalog", &[get("/search", 90, 25_000), get("/suggest", 50, 5_000)]),
    service("cart", "1.9.0", "stock", &[get("/cart", 50, 4_000), post("/cart/items", 40, 7_000)]),
    service("checkout", "1.4.2", "payment", &[post("/checkout", 30, 35_000), post("/pay", 25, 48_000)]),
    service("payment", "5.2.0", "", &[post("/charges", 40, 60_000), post("/refunds", 5, 70_000)]),
    service("orders", "2.1.7", "stock", &[post("/orders", 30, 18_000), get("/orders/{id}", 40, 6_000)]),
    service("stock", "1.2.3", "", &[get("/stock/{sku}", 60, 3_000), post("/reservations", 25, 9_000)]),
    service("shipping", "0.9.5", "", &[get("/rates", 30, 14_000), post("/labels", 10, 40_000)]),
    service("accounts", "6.0.1", "mail", &[post("/login", 30, 22_000), get("/me", 40, 3_000)]),
    service("mail", "1.1.0", "", &[post("/messages", 30, 30_000)]),
    service("images", "2.5.0", "", &[get("/images/{id}", 80, 2_000)]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_and_every_upstream_exists() {
        let shares = SERVICES.iter().flat_map(|service| service.routes).map(|route| route.per_mille);
        assert_eq!(shares.sum::<usize>(), WHOLE);
        for service in &SERVICES {
            assert!(service.upstream.is_empty() || SERVICES.iter().any(|other| other.name == service.upstream));
        }
    }
}
