//! Label sets: what the class indices of a map mean.

/// What a class means to the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Road that the robot may drive on.
    Drivable,
    Vehicle,
    /// Pedestrians and cyclists.
    Person,
    /// Built things that stand: building, pole, sign, fence.
    Structure,
    /// No class was given: left out of scores, and the robot's own body at the bottom edge.
    Unlabelled,
    /// Scenery that the task does not ask for.
    Other,
}

/// One class of a label set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    pub name: &'static str,
    pub role: Role,
    /// Colour in pictures, sRGB.
    pub rgb: [u8; 3],
}

/// Classes by index, and the number that names the set on the wire.
#[derive(Debug, PartialEq, Eq)]
pub struct LabelSet {
    pub id: u16,
    pub name: &'static str,
    pub classes: &'static [Class],
}

const fn class(name: &'static str, role: Role, rgb: [u8; 3]) -> Class {
    Class { name, role, rgb }
}

/// CamVid's classes as the SegNet tutorial packages them.
pub static CAMVID12: LabelSet = LabelSet {
    id: 1,
    name: "camvid12",
    classes: &[
        class("sky", Role::Other, [128, 170, 210]),
        class("building", Role::Structure, [150, 75, 60]),
        class("pole", Role::Structure, [215, 205, 160]),
        class("road", Role::Drivable, [128, 64, 128]),
        class("pavement", Role::Other, [210, 130, 200]),
        class("tree", Role::Other, [95, 130, 40]),
        class("sign", Role::Structure, [235, 200, 50]),
        class("fence", Role::Structure, [80, 90, 150]),
        class("car", Role::Vehicle, [30, 40, 150]),
        class("pedestrian", Role::Person, [220, 40, 50]),
        class("bicyclist", Role::Person, [20, 150, 190]),
        class("unlabelled", Role::Unlabelled, [45, 45, 45]),
    ],
};

/// Cityscapes' 19 training classes, and 19 for what is ignored (255 in the files).
pub static CITYSCAPES20: LabelSet = LabelSet {
    id: 2,
    name: "cityscapes20",
    classes: &[
        class("road", Role::Drivable, [128, 64, 128]),
        class("sidewalk", Role::Other, [244, 35, 232]),
        class("building", Role::Structure, [70, 70, 70]),
        class("wall", Role::Structure, [102, 102, 156]),
        class("fence", Role::Structure, [190, 153, 153]),
        class("pole", Role::Structure, [153, 153, 153]),
        class("traffic light", Role::Structure, [250, 170, 30]),
        class("traffic sign", Role::Structure, [220, 220, 0]),
        class("vegetation", Role::Other, [107, 142, 35]),
        class("terrain", Role::Other, [152, 251, 152]),
        class("sky", Role::Other, [70, 130, 180]),
        class("person", Role::Person, [220, 20, 60]),
        class("rider", Role::Person, [255, 0, 0]),
        class("car", Role::Vehicle, [0, 0, 142]),
        class("truck", Role::Vehicle, [0, 0, 70]),
        class("bus", Role::Vehicle, [0, 60, 100]),
        class("train", Role::Vehicle, [0, 80, 100]),
        class("motorcycle", Role::Vehicle, [0, 0, 230]),
        class("bicycle", Role::Vehicle, [119, 11, 32]),
        class("unlabelled", Role::Unlabelled, [0, 0, 0]),
    ],
};

/// Every label set that this build knows.
pub static LABEL_SETS: [&LabelSet; 2] = [&CAMVID12, &CITYSCAPES20];

impl LabelSet {
    pub fn by_id(id: u16) -> Option<&'static LabelSet> {
        LABEL_SETS.into_iter().find(|set| set.id == id)
    }

    pub fn by_name(name: &str) -> Option<&'static LabelSet> {
        LABEL_SETS.into_iter().find(|set| set.name == name)
    }

    pub const fn len(&self) -> usize {
        self.classes.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// [`Role::Other`] for an index past the last class.
    pub fn role(&self, class: u8) -> Role {
        self.classes.get(class as usize).map_or(Role::Other, |class| class.role)
    }

    /// The class for what carries no label, if the set has one.
    pub fn unlabelled(&self) -> Option<u8> {
        self.classes.iter().position(|class| class.role == Role::Unlabelled).map(|index| index as u8)
    }
}
