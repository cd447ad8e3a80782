//! Floating point in registers: `nbody [STEPS]` moves the sun and four planets, and prints their energy.

const STEPS_DEFAULT: u64 = 40_000_000;
const STEP_DAYS: f64 = 0.01;
const SUN: f64 = 4.0 * std::f64::consts::PI * std::f64::consts::PI;
const DAYS: f64 = 365.24;

#[derive(Clone, Copy)]
struct Body {
    at: [f64; 3],
    speed: [f64; 3],
    mass: f64,
}

fn main() {
    let steps = std::env::args().nth(1).map_or(STEPS_DEFAULT, |n| n.parse().expect("a number"));
    let mut bodies = bodies();
    for _ in 0..steps {
        advance(&mut bodies);
    }
    println!("nbody {:.9}", energy(&bodies));
}

fn advance(bodies: &mut [Body; 5]) {
    for i in 0..bodies.len() {
        for j in i + 1..bodies.len() {
            let apart: [f64; 3] = std::array::from_fn(|k| bodies[i].at[k] - bodies[j].at[k]);
            let square: f64 = apart.iter().map(|d| d * d).sum();
            let pull = STEP_DAYS / (square * square.sqrt());
            let (mass_i, mass_j) = (bodies[i].mass, bodies[j].mass);
            for k in 0..3 {
                bodies[i].speed[k] -= apart[k] * mass_j * pull;
                bodies[j].speed[k] += apart[k] * mass_i * pull;
            }
        }
    }
    for body in bodies {
        for k in 0..3 {
            body.at[k] += STEP_DAYS * body.speed[k];
        }
    }
}

fn energy(bodies: &[Body; 5]) -> f64 {
    let mut energy = 0.0;
    for (i, body) in bodies.iter().enumerate() {
        energy += 0.5 * body.mass * body.speed.iter().map(|v| v * v).sum::<f64>();
        for other in &bodies[i + 1..] {
            let square: f64 = (0..3).map(|k| (body.at[k] - other.at[k]).powi(2)).sum();
            energy -= body.mass * other.mass / square.sqrt();
        }
    }
    energy
}

fn body(at: [f64; 3], speed: [f64; 3], mass: f64) -> Body {
    Body { at, speed: speed.map(|v| v * DAYS), mass: mass * SUN }
}

fn bodies() -> [Body; 5] {
    [
        body([0.0; 3], [0.0; 3], 1.0),
        body(
            [4.841431442, -1.160320044, -0.103622044],
            [0.001660076, 0.007699011, -0.000069046],
            0.000954791,
        ),
        body(
            [8.343366718, 4.124798564, -0.403523417],
            [-0.002767425, 0.004998528, 0.000023041],
            0.000285885,
        ),
        body(
            [12.894369562, -15.111151401, -0.223307578],
            [0.002964601, 0.002378471, -0.000029658],
            0.000043662,
        ),
        body(
            [15.379697114, -25.919314609, 0.179258772],
            [0.002680677, 0.001628241, -0.000095159],
            0.000051513,
        ),
    ]
}
