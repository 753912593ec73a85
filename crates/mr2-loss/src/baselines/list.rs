//! The baselines by name, with what each is and where it comes from.

/// A rival method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// [`super::weighted_cross_entropy`] with [`super::class_balanced_weights`].
    ClassBalanced,
    /// [`super::resampling_probabilities`].
    Resampling,
    /// [`super::focal()`].
    Focal,
    /// [`super::logit_adjusted`].
    LogitAdjustment,
    /// [`super::post_hoc_adjusted`].
    PostHocAdjustment,
    /// [`super::balanced_softmax()`].
    BalancedSoftmax,
    /// [`super::vector_scaling()`].
    VectorScaling,
    /// [`super::ldam()`].
    Ldam,
    /// [`super::supcon()`].
    SupCon,
    /// [`super::centre_loss()`].
    CentreLoss,
    /// [`super::group_dro()`].
    GroupDro,
    /// [`super::cvar()`].
    Cvar,
    /// [`super::SampleLosses`].
    Lff,
    /// [`super::jtt_weights`].
    Jtt,
    /// [`super::Sharpness::Sam`].
    Sam,
    /// [`super::Sharpness::Asam`].
    Asam,
}

impl Baseline {
    /// All baselines.
    pub const ALL: [Self; 16] = [
        Self::ClassBalanced,
        Self::Resampling,
        Self::Focal,
        Self::LogitAdjustment,
        Self::PostHocAdjustment,
        Self::BalancedSoftmax,
        Self::VectorScaling,
        Self::Ldam,
        Self::SupCon,
        Self::CentreLoss,
        Self::GroupDro,
        Self::Cvar,
        Self::Lff,
        Self::Jtt,
        Self::Sam,
        Self::Asam,
    ];

    /// The name in configs and tables.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// What it does, in a line.
    pub fn summary(self) -> &'static str {
        self.entry().1
    }

    /// The paper and the public code that it follows.
    pub fn source(self) -> &'static str {
        self.entry().2
    }

    /// Whether nothing but plain cross-entropy is left of it where every class has as many training
    /// samples: then its result there is no evidence about it. LDAM is not among these.
    pub fn is_cross_entropy_when_balanced(self) -> bool {
        matches!(
            self,
            Self::ClassBalanced
                | Self::Resampling
                | Self::LogitAdjustment
                | Self::PostHocAdjustment
                | Self::BalancedSoftmax
                | Self::VectorScaling
        )
    }

    /// Name, summary and source.
    fn entry(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::ClassBalanced => (
                "class_balanced",
                "cross-entropy weighted by the inverse effective number of a class's samples",
                "arXiv 1901.05555; kaidic/LDAM-DRW cifar_train.py",
            ),
            Self::Resampling => (
                "resampling",
                "samples drawn in proportion to class weights",
                "kaidic/LDAM-DRW utils.py",
            ),
            Self::Focal => (
                "focal",
                "cross-entropy times a power of the probability that the label was missed by",
                "arXiv 1708.02002; kaidic/LDAM-DRW losses.py",
            ),
            Self::LogitAdjustment => (
                "logit_adjustment",
                "cross-entropy of logits plus scaled log priors",
                "arXiv 2007.07314; google-research/google-research logit_adjustment/utils.py",
            ),
            Self::PostHocAdjustment => (
                "post_hoc_adjustment",
                "cross-entropy; scaled log priors are taken off the logits at test time",
                "arXiv 2007.07314; google-research/google-research logit_adjustment/main.py",
            ),
            Self::BalancedSoftmax => (
                "balanced_softmax",
                "cross-entropy of logits plus log counts",
                "arXiv 2007.10740; jiawei-ren/BalancedMetaSoftmax-Classification \
                 loss/BalancedSoftmaxLoss.py",
            ),
            Self::VectorScaling => (
                "vector_scaling",
                "cross-entropy of logits with a factor and a shift for each class",
                "arXiv 2103.01550; orparask/VS-Loss losses.py",
            ),
            Self::Ldam => (
                "ldam",
                "cosine head with an additive margin that grows with a class's rarity",
                "arXiv 1906.07413; kaidic/LDAM-DRW losses.py",
            ),
            Self::SupCon => (
                "supcon",
                "contrastive loss whose positives are all views of a class",
                "arXiv 2004.11362; HobbitLong/SupContrast losses.py",
            ),
            Self::CentreLoss => (
                "centre_loss",
                "squared distance of features to a learnt centre of their class",
                "doi 10.1007/978-3-319-46478-7_31; KaiyangZhou/pytorch-center-loss center_loss.py",
            ),
            Self::GroupDro => (
                "group_dro",
                "class mean losses with weights that grow exponentially with them",
                "arXiv 1911.08731; kohpangwei/group_DRO loss.py",
            ),
            Self::Cvar => (
                "cvar",
                "mean of the worst share of a batch's losses",
                "arXiv 2010.05893; daniellevy/fast-dro robust_losses.py",
            ),
            Self::Lff => (
                "lff",
                "cross-entropy weighted by the failures of a network that is made to be biased",
                "arXiv 2007.02561; alinlab/LfF train.py",
            ),
            Self::Jtt => (
                "jtt",
                "a second training that weighs up the samples that a first one gets wrong",
                "arXiv 2107.09044; anniesch/jtt generate_downstream.py",
            ),
            Self::Sam => (
                "sam",
                "gradients from the worst point within a radius of the weights",
                "arXiv 2010.01412; davda54/sam sam.py",
            ),
            Self::Asam => (
                "asam",
                "the same with a radius in proportion to each weight's size",
                "arXiv 2102.11600; SamsungLabs/ASAM asam.py",
            ),
        }
    }
}
