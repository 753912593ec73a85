//! One optimiser step of one tensor of one head.

use super::config::StepRule;

/// The numbers of a step.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) rule: StepRule,
    pub(super) lr: f64,
    pub(super) weight_decay: f64,
    /// Counted from 1.
    pub(super) number: u64,
    /// A bias is exempt from LARS's scaling and decay.
    pub(super) is_bias: bool,
}

/// The moving averages of a tensor's gradient, and with AdamW of its square.
pub(super) struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Moments {
    pub(super) fn new(rule: StepRule, len: usize) -> Self {
        let second = match rule {
            StepRule::Adamw { .. } => len,
            _ => 0,
        };
        Self {
            first: vec![0.0; len],
            second: vec![0.0; second],
        }
    }

    /// Moves the values against their gradient.
    pub(super) fn step(&mut self, step: Step, values: &mut [f32], gradient: &[f32]) {
        let (lr, decay) = (step.lr as f32, step.weight_decay as f32);
        match step.rule {
            StepRule::Sgd { momentum } => {
                self.momentum_step(momentum as f32, lr, (1.0, decay), values, gradient);
            }
            StepRule::Lars { momentum, trust } => {
                let scaled = match step.is_bias {
                    true => (1.0, 0.0),
                    false => layerwise(values, gradient, step.weight_decay, trust),
                };
                self.momentum_step(momentum as f32, lr, scaled, values, gradient);
            }
            StepRule::Adamw { beta1, beta2, eps } => {
                let number = step.number as i32;
                let correct = |beta: f64| 1.0 - beta.powi(number);
                let kept = (1.0 - step.lr * step.weight_decay) as f32;
                let stride = (step.lr / correct(beta1)) as f32;
                let root = correct(beta2).sqrt() as f32;
                let (eps, beta1, beta2) = (eps as f32, beta1 as f32, beta2 as f32);
                let moments = self.first.iter_mut().zip(&mut self.second);
                for ((value, &g), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
                    *first += (1.0 - beta1) * (g - *first);
                    *second = beta2 * *second + (1.0 - beta2) * g * g;
                    *value = kept * *value - stride * (*first / (second.sqrt() / root + eps));
                }
            }
        }
    }

    /// Along the moving direction, into which enters the gradient times a factor and the values times a decay.
    fn momentum_step(
        &mut self,
        momentum: f32,
        lr: f32,
        (factor, decay): (f32, f32),
        values: &mut [f32],
        gradient: &[f32],
    ) {
        let moving = self.first.iter_mut();
        for ((value, &g), moving) in values.iter_mut().zip(gradient).zip(moving) {
            *moving = momentum * *moving + (factor * g + decay * *value);
            *value -= lr * *moving;
        }
    }
}

/// What LARS multiplies the gradient and the values by before their sum enters the momentum.
fn layerwise(values: &[f32], gradient: &[f32], decay: f64, trust: f64) -> (f32, f32) {
    let (mut of_values, mut of_sum) = (0f64, 0f64);
    for (&value, &g) in values.iter().zip(gradient) {
        let (value, g) = (f64::from(value), f64::from(g));
        of_values += value * value;
        of_sum += (g + decay * value) * (g + decay * value);
    }
    let factor = match of_values > 0.0 && of_sum > 0.0 {
        true => trust * (of_values / of_sum).sqrt(),
        false => 1.0,
    };
    (factor as f32, (factor * decay) as f32)
}
