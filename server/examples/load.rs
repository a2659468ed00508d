//! What an operation costs, here and in the reference implementation, in one run on one machine. Run by
//! `scripts/bench`.
//!
//! A closed loop: every client waits for its answer before it asks again, and latency counts from the moment it
//! asks. The first figure is CPU time per operation, user and system, summed over all server processes: it is what
//! survives a noisy machine. Servers take turns, in alternating order; figures are medians over the rounds, with the
//! spread of the CPU time. `others` is how much of the machine anything else used at worst: above 5 % of it, repeat.
//!
//! Every measurement is of a store of [`KEYS`] keys; values go to disk and are synced, as by default.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "measures real processes in real time")]

#[cfg(madsim)]
fn main() {}

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    real::main()
}

#[cfg(not(madsim))]
mod real {
    use std::fmt::Write;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, ExitCode, Stdio};
    use std::time::{Duration, Instant};

    use evenkeel_proto::etcdserverpb::kv_client::KvClient;
    use evenkeel_proto::etcdserverpb::{PutRequest, RangeRequest};
    use tokio::task::JoinSet;
    use tonic::transport::{Channel, Endpoint};

    /// Keys in the store.
    const KEYS: u64 = 10_000;
    /// Bytes of a value; keys have 8.
    const VALUE_BYTES: usize = 256;
    /// Before a measurement begins.
    const WARM_UP: Duration = Duration::from_secs(1);
    /// For a cluster to serve.
    const PATIENCE: Duration = Duration::from_secs(30);
    /// Clients that share a connection, as far as [`CONNECTIONS_MAX`] allows.
    const CLIENTS_PER_CONNECTION: usize = 16;
    const CONNECTIONS_MAX: usize = 16;
    /// The kernel's unit of process times, in microseconds.
    const TICK_MICROS: f64 = 10_000.0;

    const USAGE: &str = "\
usage: load --ours PROGRAM --reference PROGRAM --data DIRECTORY
            [--rounds 3] [--seconds 4] [--members 1,3] [--clients 64,1000] [--port 24000]";

    type Failure = Box<dyn std::error::Error + Send + Sync>;

    struct Options {
        programs: [PathBuf; 2],
        data: PathBuf,
        rounds: usize,
        seconds: u64,
        members: Vec<usize>,
        clients: Vec<usize>,
        port: u16,
    }

    impl Options {
        fn parse() -> Result<Options, Failure> {
            let (mut ours, mut reference, mut data) = (None, None, None);
            let (mut rounds, mut seconds, mut port) = (3, 4, 24_000);
            let (mut members, mut clients) = (vec![1, 3], vec![64, 1_000]);
            let mut arguments = std::env::args().skip(1);
            while let Some(name) = arguments.next() {
                let value = arguments.next().ok_or_else(|| format!("{name} takes a value"))?;
                let list = || value.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>();
                match name.as_str() {
                    "--ours" => ours = Some(value.into()),
                    "--reference" => reference = Some(value.into()),
                    "--data" => data = Some(value.into()),
                    "--rounds" => rounds = value.parse()?,
                    "--seconds" => seconds = value.parse()?,
                    "--members" => members = list()?,
                    "--clients" => clients = list()?,
                    "--port" => port = value.parse()?,
                    _ => return Err(format!("{name} is unknown").into()),
                }
            }
            let programs = [ours.ok_or("--ours is missing")?, reference.ok_or("--reference is missing")?];
            Ok(Options { programs, data: data.ok_or("--data is missing")?, rounds, seconds, members, clients, port })
        }
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Operation {
        Put,
        Get,
    }

    impl Operation {
        fn name(self) -> &'static str {
            if self == Operation::Put { "put" } else { "get" }
        }
    }

    /// One measurement.
    #[derive(Clone, Copy)]
    struct Sample {
        operations_per_second: f64,
        p50_millis: f64,
        p99_millis: f64,
        cpu_micros: f64,
        others_percent: f64,
    }

    /// Running servers; killed when dropped.
    struct Cluster {
        children: Vec<Child>,
        endpoints: Vec<String>,
        data: PathBuf,
    }

    impl Cluster {
        async fn start(program: &Path, data: &Path, size: usize, port: u16) -> Result<Cluster, Failure> {
            let _ = std::fs::remove_dir_all(data);
            std::fs::create_dir_all(data)?;
            let url = |index: usize, peer: u16| format!("http://127.0.0.1:{}", port + 2 * index as u16 + peer);
            let members: Vec<String> = (0..size).map(|index| format!("n{index}={}", url(index, 1))).collect();
            let endpoints = (0..size).map(|index| url(index, 0)).collect();
            let mut cluster = Cluster { children: Vec::new(), endpoints, data: data.to_owned() };
            for index in 0..size {
                let log = std::fs::File::create(data.join(format!("n{index}.log")))?;
                let mut command = Command::new(program);
                command.arg(format!("--name=n{index}"));
                command.arg(format!("--data-dir={}", data.join(format!("n{index}")).display()));
                for flag in ["listen-client-urls", "advertise-client-urls"] {
                    command.arg(format!("--{flag}={}", url(index, 0)));
                }
                for flag in ["listen-peer-urls", "initial-advertise-peer-urls"] {
                    command.arg(format!("--{flag}={}", url(index, 1)));
                }
                command.arg(format!("--initial-cluster={}", members.join(","))).arg("--log-level=warn");
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
                cluster.children.push(command.spawn().map_err(|error| format!("{}: {error}", program.display()))?);
            }
            let deadline = Instant::now() + PATIENCE;
            for endpoint in &cluster.endpoints {
                while let Err(error) = ask_once(endpoint).await {
                    if deadline < Instant::now() {
                        return Err(format!(
                            "{} does not serve: {error}; logs are in {}",
                            program.display(),
                            data.display()
                        )
                        .into());
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Ok(cluster)
        }

        async fn connect(&self, connections: usize) -> Result<Vec<KvClient<Channel>>, Failure> {
            let mut clients = Vec::new();
            for endpoint in self.endpoints.iter().cycle().take(connections.max(self.endpoints.len())) {
                clients.push(KvClient::new(Endpoint::from_shared(endpoint.clone())?.connect().await?));
            }
            Ok(clients)
        }

        /// CPU time that the servers have used, in microseconds.
        fn cpu_micros(&self) -> Result<f64, Failure> {
            let mut ticks = 0;
            for child in &self.children {
                ticks += process_ticks(&child.id().to_string())?;
            }
            Ok(ticks as f64 * TICK_MICROS)
        }
    }

    impl Drop for Cluster {
        fn drop(&mut self) {
            for child in &mut self.children {
                let _ = child.kill();
                let _ = child.wait();
            }
            let _ = std::fs::remove_dir_all(&self.data);
        }
    }

    /// A linearizable read: answered once there is a leader.
    async fn ask_once(endpoint: &str) -> Result<(), Failure> {
        let channel = Endpoint::from_shared(endpoint.to_owned())?.timeout(Duration::from_secs(1)).connect().await?;
        KvClient::new(channel).range(RangeRequest { key: "health".into(), ..RangeRequest::default() }).await?;
        Ok(())
    }

    /// User and system time of a process, from its line in /proc.
    fn process_ticks(process: &str) -> Result<u64, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The second field is a name in parentheses and may contain anything.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        Ok(fields.get(11).ok_or("short")?.parse::<u64>()? + fields.get(12).ok_or("short")?.parse::<u64>()?)
    }

    /// Busy and all ticks of the machine.
    fn machine_ticks() -> Result<(u64, u64), Failure> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
        let fields = fields.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let (all, idle) = (fields.iter().sum::<u64>(), fields[3] + fields[4]);
        Ok((all - idle, all))
    }

    /// One client: asks until `end`; returns (when answered, microseconds) of each answer.
    async fn client(
        mut kv: KvClient<Channel>,
        operation: Operation,
        mut random: u64,
        end: Instant,
    ) -> Result<Vec<(Instant, u32)>, tonic::Status> {
        let mut answers = Vec::new();
        let value = bytes::Bytes::from(vec![b'v'; VALUE_BYTES]);
        loop {
            // A linear congruential generator (Knuth) is random enough to choose a key.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = key((random >> 33) % KEYS);
            let asked = Instant::now();
            if end <= asked {
                return Ok(answers);
            }
            match operation {
                Operation::Put => {
                    kv.put(PutRequest { key, value: value.clone(), ..PutRequest::default() }).await?;
                }
                Operation::Get => {
                    kv.range(RangeRequest { key, ..RangeRequest::default() }).await?;
                }
            }
            let answered = Instant::now();
            answers.push((answered, answered.duration_since(asked).as_micros() as u32));
        }
    }

    fn key(number: u64) -> bytes::Bytes {
        format!("{number:08}").into()
    }

    /// Puts every key once.
    async fn fill(cluster: &Cluster) -> Result<(), Failure> {
        let connections = cluster.connect(4).await?;
        let mut clients = JoinSet::new();
        const CLIENTS: u64 = 64;
        for index in 0..CLIENTS {
            let mut kv = connections[index as usize % connections.len()].clone();
            clients.spawn(async move {
                for number in (index..KEYS).step_by(CLIENTS as usize) {
                    let value = vec![b'v'; VALUE_BYTES].into();
                    kv.put(PutRequest { key: key(number), value, ..PutRequest::default() }).await?;
                }
                Ok::<_, tonic::Status>(())
            });
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        Ok(())
    }

    async fn measure(
        cluster: &Cluster,
        operation: Operation,
        clients: usize,
        duration: Duration,
    ) -> Result<Sample, Failure> {
        let connections = cluster.connect(clients.div_ceil(CLIENTS_PER_CONNECTION).min(CONNECTIONS_MAX)).await?;
        let begin = Instant::now() + WARM_UP;
        let end = begin + duration;
        let mut running = JoinSet::new();
        for index in 0..clients {
            let kv = connections[index % connections.len()].clone();
            running.spawn(client(kv, operation, index as u64, end));
        }
        let own = || process_ticks("self");
        tokio::time::sleep_until(begin.into()).await;
        let before = (cluster.cpu_micros()?, own()?, machine_ticks()?, Instant::now());
        tokio::time::sleep_until(end.into()).await;
        let after = (cluster.cpu_micros()?, own()?, machine_ticks()?, Instant::now());

        let mut latencies = Vec::new();
        while let Some(answers) = running.join_next().await {
            let answers = answers??.into_iter();
            let inside = answers.filter(|(answered, _)| before.3 <= *answered && *answered < after.3);
            latencies.extend(inside.map(|(_, micros)| micros));
        }
        latencies.sort_unstable();
        let count = latencies.len();
        if count == 0 {
            return Err("nothing was answered".into());
        }
        let quantile = |q: f64| f64::from(latencies[((count - 1) as f64 * q) as usize]) / 1e3;
        let cpu = after.0 - before.0;
        let (busy, all) = (after.2.0 - before.2.0, after.2.1 - before.2.1);
        let known = cpu / TICK_MICROS + (after.1 - before.1) as f64;
        Ok(Sample {
            operations_per_second: count as f64 / after.3.duration_since(before.3).as_secs_f64(),
            p50_millis: quantile(0.5),
            p99_millis: quantile(0.99),
            cpu_micros: cpu / count as f64,
            others_percent: ((busy as f64 - known) / all as f64 * 100.0).max(0.0),
        })
    }

    fn median(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> f64 {
        let mut figures: Vec<f64> = samples.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    }

    /// One kind of measurement, with the samples of both programs.
    struct Row {
        members: usize,
        clients: usize,
        operation: Operation,
        samples: [Vec<Sample>; 2],
    }

    fn table(rows: &[Row]) -> String {
        let mut text = format!(
            "{:>7} {:>7} {:>3}  {:<9} {:>9} {:>8} {:>8} {:>9} {:>15} {:>7}\n",
            "members", "clients", "op", "server", "ops/s", "p50 ms", "p99 ms", "CPU us/op", "spread", "others"
        );
        for Row { members, clients, operation, samples } in rows {
            for (name, samples) in ["evenkeel", "etcd"].iter().zip(samples) {
                let cpu =
                    |pick: fn(f64, f64) -> f64| samples.iter().map(|sample| sample.cpu_micros).reduce(pick).unwrap();
                let spread = format!("{:.1}..{:.1}", cpu(f64::min), cpu(f64::max));
                let others = samples.iter().map(|sample| sample.others_percent).fold(0.0, f64::max);
                writeln!(
                    text,
                    "{members:>7} {clients:>7} {:>3}  {name:<9} {:>9.0} {:>8.2} {:>8.2} {:>9.1} {spread:>15} {others:>6.0}%",
                    operation.name(),
                    median(samples, |sample| sample.operations_per_second),
                    median(samples, |sample| sample.p50_millis),
                    median(samples, |sample| sample.p99_millis),
                    median(samples, |sample| sample.cpu_micros),
                )
                .expect("a string takes everything");
            }
            let ratio = |figure: fn(&Sample) -> f64| median(&samples[1], figure) / median(&samples[0], figure);
            writeln!(
                text,
                "{:>20} etcd needs {:.2}x the CPU; its p99 is {:.2}x ours; we do {:.2}x its ops/s\n",
                "",
                ratio(|sample| sample.cpu_micros),
                ratio(|sample| sample.p99_millis),
                1.0 / ratio(|sample| sample.operations_per_second),
            )
            .expect("a string takes everything");
        }
        text
    }

    async fn bench(options: &Options) -> Result<(), Failure> {
        let mut rows = Vec::new();
        for &members in &options.members {
            for &clients in &options.clients {
                for operation in [Operation::Put, Operation::Get] {
                    rows.push(Row { members, clients, operation, samples: [Vec::new(), Vec::new()] });
                }
            }
        }
        for round in 0..options.rounds {
            for &members in &options.members {
                for turn in 0..2 {
                    let which = (round + turn) % 2;
                    let program = &options.programs[which];
                    eprintln!("round {} of {}, {members} members: {}", round + 1, options.rounds, program.display());
                    let data = options.data.join("data");
                    let cluster = Cluster::start(program, &data, members, options.port).await?;
                    fill(&cluster).await?;
                    for row in rows.iter_mut().filter(|row| row.members == members) {
                        let duration = Duration::from_secs(options.seconds);
                        row.samples[which].push(measure(&cluster, row.operation, row.clients, duration).await?);
                    }
                }
            }
        }
        print!("{}", table(&rows));
        Ok(())
    }

    pub fn main() -> ExitCode {
        let options = match Options::parse() {
            Ok(options) => options,
            Err(error) => {
                eprintln!("{error}\n{USAGE}");
                return ExitCode::from(2);
            }
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
        match runtime.block_on(bench(&options)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("load: {error}");
                ExitCode::FAILURE
            }
        }
    }
}
