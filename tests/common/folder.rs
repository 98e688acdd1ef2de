use std::path::PathBuf;

/// A folder of its own for each test of each test file, gone when the test is.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(test: &str) -> Self {
        let name = format!("{}-{}-{test}", env!("CARGO_CRATE_NAME"), std::process::id());
        let dir = std::env::temp_dir().join(format!("semrx-{name}"));
        std::fs::create_dir_all(&dir).unwrap();
        Folder(dir)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
