//! `Network`, `Volume` and `Stack`.

use super::network::engine_name;
use super::{Convert, Defaults, Shared};
use crate::manifest::form::infra::{IpamForm, NetworkForm, StackForm, VolumeForm};
use crate::manifest::form::service::StopForm;
use crate::manifest::scalar::Scalar;
use crate::manifest::span::Span;
use crate::resource::spec::{IpamPool, NetworkSpec, VolumeSpec};
use crate::resource::update::Update;

impl Convert<'_> {
    /// `name` is what services call it.
    pub fn network_spec(&mut self, name: &str, form: &NetworkForm) -> NetworkSpec {
        let NetworkForm { name: own, external, internal, ipv6, driver, driver_opts, ipam } = form;
        let engine = self.own_name(own.as_ref()).unwrap_or_else(|| {
            if name == "default" { super::default_network(self.shared.stack) } else { name.to_owned() }
        });
        let mut pools = Vec::new();
        for IpamForm { subnet, gateway, ip_range } in ipam.iter().flatten() {
            let gateway_text = self.filled(gateway.as_ref());
            if let Some(text) = gateway_text.as_ref().filter(|g| g.parse::<std::net::IpAddr>().is_err()) {
                self.error(gateway.as_ref().map_or(Span::default(), |g| g.span), format!("`{text}` is not an address"));
            }
            match subnet {
                None => self
                    .error(gateway.as_ref().map_or(Span::default(), |g| g.span), "an address range without `subnet`"),
                Some(subnet) => pools.extend(self.cidr(subnet).map(|text| (text, gateway_text, ip_range.as_ref()))),
            }
        }
        let mut pools: Vec<_> = pools
            .into_iter()
            .map(|(subnet, gateway, range)| IpamPool { subnet, gateway, ip_range: range.and_then(|r| self.cidr(r)) })
            .collect();
        pools.sort();
        NetworkSpec {
            name: engine,
            external: self.get(external.as_ref()).unwrap_or(false),
            internal: self.get(internal.as_ref()).unwrap_or(false),
            ipv6: self.get(ipv6.as_ref()).unwrap_or(false),
            // Written out or not, the default is the same spec.
            driver: self.filled(driver.as_ref()).filter(|d| d != "bridge"),
            driver_opts: self.map(driver_opts.as_ref()),
            ipam: pools,
        }
    }

    fn cidr(&mut self, scalar: &Scalar<String>) -> Option<String> {
        let text = self.filled(Some(scalar))?;
        let ok = text.split_once('/').is_some_and(|(ip, bits)| {
            let most = if ip.contains(':') { 128 } else { 32 };
            ip.parse::<std::net::IpAddr>().is_ok() && bits.parse::<u8>().is_ok_and(|b| b <= most)
        });
        if !ok {
            self.error(scalar.span, format!("`{text}` is not an address range; write it as `172.28.0.0/16`"));
        }
        ok.then_some(text)
    }

    pub fn volume_spec(&mut self, name: &str, form: &VolumeForm) -> VolumeSpec {
        let VolumeForm { name: own, external, driver, driver_opts } = form;
        VolumeSpec {
            name: self.own_name(own.as_ref()).unwrap_or_else(|| name.to_owned()),
            external: self.get(external.as_ref()).unwrap_or(false),
            driver: self.filled(driver.as_ref()).filter(|d| d != "local"),
            driver_opts: self.map(driver_opts.as_ref()),
        }
    }

    fn own_name(&mut self, own: Option<&Scalar<String>>) -> Option<String> {
        let own = own?;
        let text = self.filled(Some(own))?;
        if let Err(why) = engine_name(&text) {
            self.error(own.span, format!("`{text}` is not a name on the engine: {why}"));
            return None;
        }
        Some(text)
    }
}

/// What a `Stack` manifest changes for all services.
pub(in crate::manifest) struct StackDefaults {
    pub variables: std::collections::BTreeMap<String, String>,
    pub defaults: Defaults,
    pub container_name: Option<String>,
    pub stop_signal: Option<String>,
    pub update: Update,
}

impl Convert<'_> {
    pub fn stack(&mut self, form: &StackForm) -> StackDefaults {
        let StackForm { env, env_file, container_name, update, stop } = form;
        let mut variables = env_file.as_ref().map(|f| self.env_file(f, false)).unwrap_or_default();
        variables.extend(self.map(env.as_ref()));
        let template = self.filled(container_name.as_ref());
        if let (Some(text), Some(scalar)) = (&template, container_name) {
            if !text.contains("{service}") {
                let help = "else all containers would bear the same name";
                self.error_help(scalar.span, "the template has no `{service}` in it", help);
            } else if let Err(why) = engine_name(&text.replace("{service}", "xx")) {
                self.error(scalar.span, format!("`{text}` makes no name of a container: {why}"));
            }
        }
        let mut defaults = self.shared.defaults.clone();
        let update = self.update(update.as_ref());
        let mut stop_signal = None;
        if let Some(StopForm { signal, grace_period }) = stop {
            stop_signal = self.signal(signal.as_ref());
            defaults.stop_grace = self.get(grace_period.as_ref()).unwrap_or(defaults.stop_grace);
        }
        StackDefaults { variables, defaults, container_name: template, stop_signal, update }
    }
}

impl Shared<'_> {
    pub fn apply(&mut self, stack: StackDefaults) {
        let StackDefaults { variables, defaults, container_name, stop_signal, update } = stack;
        self.variables = variables;
        self.defaults = defaults;
        self.container_name = container_name.unwrap_or_else(|| std::mem::take(&mut self.container_name));
        self.stop_signal = stop_signal;
        self.update = update;
    }
}
