//! `describe NAME`.

use clap::Args;

use super::Session;
use crate::cli::args::OutputArg;
use crate::cli::describe::DescribeReport;
use crate::cli::exit::{Exit, Failure};
use crate::cli::remote::Remote;
use crate::proto::env_manager::v1;

/// Show everything about one service (needs a daemon)
///
/// Its conditions, what it depends on, how its probes answered last and by which route, what differs from its
/// manifest and what is to be done, its spec, and what happened.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  env-manager describe redis\n  env-manager describe kafka -o json")]
pub struct Arguments {
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    output: OutputArg,
}

/// # Errors
/// Exit code 5 without a daemon; a name that no service has.
pub async fn run(session: &Session, arguments: &Arguments) -> Result<Exit, Failure> {
    let configuration = session.load(false)?;
    let remote = Remote::require(session, &configuration).await?;
    let request = v1::DescribeServiceRequest { service_name: arguments.name.clone() };
    let description = remote.ask(remote.client.clone().describe_service(request)).await?;
    let report = DescribeReport::new(description, &remote.report().await?);
    session.print(arguments.output.output, &report, |_| report.render(session.terminal.out.width));
    Ok(Exit::Done)
}
